;                                     
;                                  
;                                  
import { drop,               log } from "tidegate";
import {           } from "tidegate";
import {                              } from "tidegate";
import type, { now } from "tidegate";
;                                 
            
                 
 
;                               
;                                         
;                
                       
 
;                  ;                                 ;                            
export { drop,             };
;                        ;                               
;                                   
;                             
;                   
;                             
;                                                    
;                                            
;                                                
;                                                                                    
;                                              
;                                     
;                                
;                               
function over(a     ) { return a }
;                                        
export function twice(a     ) { ;                    return a;         }
         class Shape {}
export          class Square extends Shape {}
;                                  
var abstract, declare, of = type
abstract
declare
